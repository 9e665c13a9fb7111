"""Published models on one patient's encrypted record (CKKS): only the owner of the key ever decrypts."""
