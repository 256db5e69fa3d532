"""The fast path: texts to token ids to packed hidden states to per-text results. It knows no model's meaning."""
