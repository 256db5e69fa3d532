"""A model on several devices: a worker process for each, and the texts of a call on their way through them.

``pool.py`` gives tasks to the processes, ``worker.py`` is one of them seen from there, ``watch.py`` kills those that
are stuck, and ``process.py`` is what runs in them. These know nothing of models. ``shared_pass.py`` cuts the texts of a
call into tasks, and puts the results in order.
"""
