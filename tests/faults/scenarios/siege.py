"""Runs and blows, spread evenly over one another, so that every blow finds work to disturb."""

import time


def besiege(scene, workers, *, feature, runs, blows, strike, seconds, pause=(0.05, 0.25)):
    """
    Start *runs* while *strike* is called until it has struck *blows* times; it gives whether it hit something.

    *seconds* is what each task takes. Where all runs have ended before the last blow, more are started.
    """
    started = struck = missed = 0
    deadline = time.monotonic() + 60 + blows * 6
    while started < runs or struck < blows:
        # A few runs ahead of the blows
        while (started < runs and started <= 4 + struck * runs / blows) or missed > 20:
            scene.start(feature, seconds=seconds)
            started += 1
            missed = 0
        hit = strike(workers)
        struck += hit
        missed += not hit
        scene.progress(f"{started} runs, {struck} blows")
        time.sleep(scene.random.uniform(*pause))
        if time.monotonic() > deadline:
            scene.wrong.append(f"only {struck} of {blows} blows struck, {started} of {runs} runs started")
            break
    return struck
