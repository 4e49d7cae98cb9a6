"""The site must need no outside address: a build that loads from one fails."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

# Links that a reader may follow (`<a href>`) are no part of it.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>
    | url\(["']?(?:https?:)?//[^)]*\) | @import\s+["'](?:https?:)?//[^"']*""",
    re.VERBOSE,
)


def on_post_build(config: MkDocsConfig) -> None:
    """Looks through all pages and style sheets."""
    site = Path(config.site_dir)
    found = [
        f"{path.relative_to(site)}: {what}"
        for kind in ("*.html", "*.css")
        for path in sorted(site.rglob(kind))
        for what in _LOADED.findall(path.read_text())
    ]
    if found:
        raise PluginError("Outside addresses are loaded:\n" + "\n".join(found))
