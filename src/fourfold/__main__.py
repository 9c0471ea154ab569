"""``python -m fourfold``: the command line."""

from fourfold.main import main

if __name__ == "__main__":
    main()
