"""What the packages for LangChain and LlamaIndex share."""
