"""``python -m bsbatch``."""

from bsbatch.cli import main

if __name__ == "__main__":
    main()
