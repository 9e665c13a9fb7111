"""``python -m marketplace.custodian``."""

from marketplace.custodian.main import main

if __name__ == "__main__":
    main()
