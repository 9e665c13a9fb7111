"""``python -m marketplace.gate``."""

from marketplace.gate.main import main

if __name__ == "__main__":
    main()
