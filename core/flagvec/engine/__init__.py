"""The fast path from texts to results. It knows tensors, and nothing of what models mean.

1. ``tokens.py`` turns a window of texts into token ids, sorts them by length and cuts them into batches of at most so
   many tokens.
2. ``packed.py`` puts the texts of a batch end to end in one row. Attention finds each text by its first token.
   ``local_attention.py`` attends in the layers that read only near tokens.
3. ``hidden_states.py`` runs each batch through the backbone. For the BERT family ``post_norm_layer.py`` replaces the
   layers. On a CPU ``prepacked.py`` multiplies, ``activations.py`` keeps memory for the next layer, and the C code in
   ``kernels`` attends and normalises. A batch of few tokens goes through all layers in one call (``few_rows.py``).
4. ``reductions.py`` reduces rows of hidden states to one result a text, on the device.
5. ``overlap.py`` copies results to the host, and tokenises the next window, while the device computes.

``devices.py`` chooses the device and the number format, on a CPU by the measurement in ``number_format.py``.
``paths.py`` describes the chosen path for the log.
``unicode.py`` repairs texts that are not valid Unicode.
"""
