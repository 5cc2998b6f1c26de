"""The WebUI runs this at every start. EBCA installs nothing; it says so if the torch that is there is too old."""

import importlib.metadata

OLDEST_TORCH = (2, 1)


def main() -> None:
    """Print one sentence if torch is missing or too old, and nothing otherwise."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        print(f"EBCA needs torch {wanted} or newer, and there is {version}: update the WebUI's torch.")


main()
