"""A model on several devices: a worker process for each, and the texts of a call on their way through them.

``pool.py`` starts the processes and gives them tasks, and ``process.py`` is what runs in them. Both know nothing of
models. ``shared_pass.py`` cuts the texts of a call into tasks, and puts the results in order.
"""
