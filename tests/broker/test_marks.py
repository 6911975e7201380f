"""Our own keys in Redis."""

from numflow_django.broker import marks


def test_a_mark_shows_that_redis_has_lost_its_data(server):
    """The first mark is missing, the next one exists, and after a flush it is missing again, for each queue."""
    were_missing = [marks.set_mark("default"), marks.set_mark("default"), marks.set_mark("mail")]
    server.flushall()

    assert [*were_missing, marks.set_mark("default")] == [True, False, True, True]
    assert server.ttl("numflow:mark:default") == -1


def test_a_deleted_mark_is_missing(server):
    """A relay that could not check everything deletes the mark for the next one."""
    marks.set_mark("default")

    marks.delete_mark("default")

    assert marks.set_mark("default") is True


def test_one_at_a_time_takes_the_turn(server):
    """One worker takes a turn for all until it expires; each queue has its own turn."""
    taken = [marks.take_turn("default", 60), marks.take_turn("default", 60), marks.take_turn("mail", 60)]
    left = server.pttl("numflow:turn:default")
    server.delete("numflow:turn:default")

    assert [*taken, marks.take_turn("default", 60)] == [True, False, True, True]
    assert 0 < left <= 60_000


def test_another_turn_has_its_own_key(server):
    """The turn of the warnings is another one than that of the relay."""
    taken = [marks.take_turn("default", 60), marks.take_turn("default", 60, key=marks.WARNED)]

    assert taken == [True, True]
    assert 0 < server.pttl("numflow:warned:default") <= 60_000
