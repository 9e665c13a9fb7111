"""The chain as the product sees it: an embedded node, and the adapter to any JSON-RPC node."""
