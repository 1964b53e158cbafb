"""Reads a target profile: YAML 1.2, every mistake at once, each with its place."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from doorbuster.documents import DocumentError, allowed_names, read_document, suggestion
from doorbuster.records.run_folder import text_hash
from doorbuster_load.profile.checks import checks_of
from doorbuster_load.profile.model import Profile


class ProfileError(DocumentError):
    """A profile with mistakes; `problems` holds one sentence for each."""


@dataclass(frozen=True)
class ProfileFile:
    """A profile with the text and the file it was read from."""

    path: Path
    text: str
    profile: Profile

    @property
    def hash(self) -> str:
        """SHA-256 of the text."""
        return text_hash(self.text)

    @property
    def folder(self) -> Path:
        """Where the files stand that the profile names."""
        return self.path.parent


def built_in_profiles() -> list[str]:
    """Names of the profiles that come with Doorbuster."""
    folder = resources.files("doorbuster_load") / "profiles"
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def find_profile(name: str) -> Path:
    """The file of a built-in name or of a path. Raises: ProfileError naming what there is."""
    built_in = built_in_profiles()
    if name in built_in:
        return Path(str(resources.files("doorbuster_load") / "profiles" / f"{name}.yaml"))
    path = Path(name)
    if path.is_file():
        return path
    what = "a directory" if path.is_dir() else "no such file or built-in profile"
    problem = (
        f"profile: {what} (got {name!r}){allowed_names(built_in)}"
        f"{suggestion(name, built_in)}; or give the path of a YAML file"
    )
    raise ProfileError([problem])


def read_profile(path: Path) -> ProfileFile:
    """Read and check a profile file. Raises: ProfileError with every mistake."""
    profile, text = read_document(path, Profile, checks=checks_of(path.parent), error=ProfileError)
    return ProfileFile(path, text, profile)
