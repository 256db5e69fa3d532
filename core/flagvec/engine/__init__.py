"""The fast path, which knows tensors and nothing of models' meaning. Where the tokens of a text are, step by step.

1. ``tokens.py``: a window of texts becomes token ids, ordered by length and cut into batches of so many tokens.
2. ``packed.py``: the ids of a batch lie end to end in one row; attention finds each text by where it starts.
3. ``hidden_states.py``: each batch goes through the backbone, whose layers are ``post_norm_layer.py``'s where it is of
   the BERT family, and on a CPU multiply by ``prepacked.py`` in the memory that ``activations.py`` keeps, and attend
   and normalise by ``kernels``, which are C. A batch of few tokens goes through all of them at once, by
   ``few_rows.py``.
4. ``reductions.py``: rows of hidden states become one result a text, on the device.
5. ``overlap.py``: results travel to the host while the next batch runs, and the next window is tokenised.

``devices.py`` says where all that happens and in which number format; ``unicode.py`` what is done to odd texts before.
"""
