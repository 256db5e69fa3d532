"""What the files of a checkpoint say, and whether they can be used."""
