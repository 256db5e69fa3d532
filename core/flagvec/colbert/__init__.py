"""What `ColbertFlagModel` needs beside the encoder: tokens, layouts of checkpoints, and batches."""
