"""The lengths of the text columns, which bound the names that code declares."""

#: Characters kept of a path: no reader needs more than an address bar shows.
PATH_LENGTH = 500
#: Characters of a feature's label, of a queue's, an async task's and a worker's name, and of a user's key.
LABEL_LENGTH = 200
QUEUE_LENGTH = 100
TASK_LENGTH = 200
WORKER_LENGTH = 200
USER_LENGTH = 200
#: Characters kept of an error's message.
MESSAGE_LENGTH = 2_000
#: Characters kept of a traceback.
TRACEBACK_LENGTH = 20_000
