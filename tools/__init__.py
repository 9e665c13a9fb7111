"""What the bench needs and the product does not."""
