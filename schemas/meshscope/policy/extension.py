"""Kind `extension`: what the vocabulary does not model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extension:
    """An opaque part of the configuration.

    Attributes:
        digest: Hash of its canonical JSON.
        type: Envoy's type URL or message name, for readers.
        paths: Leaf paths that it covers, for readers; at most 20.
    """

    digest: str
    type: str = ""
    paths: tuple[str, ...] = ()

    def without_names(self) -> "Extension":
        """Itself: what is unknown may matter."""
        return self
