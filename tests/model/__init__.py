"""Reference models: what the contracts must do, said in terms of people."""
