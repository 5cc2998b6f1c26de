"""The command `ebca`: one file per family of sub-commands."""
