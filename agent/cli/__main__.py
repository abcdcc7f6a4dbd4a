"""`python -m agent.cli` is `npp-agent`, for a checkout that is not installed."""

from agent.cli import main

if __name__ == "__main__":
    main()
