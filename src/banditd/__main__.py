"""``python -m banditd``: the same as the ``banditd`` command."""

from banditd.cli import main

if __name__ == "__main__":
    main()
