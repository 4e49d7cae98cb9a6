"""The page of the tutorial, made from the notebook and the outputs kept in it."""

import json
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTEBOOK = "tutorial.ipynb"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page beside the notebook."""
    notebook = json.loads((Path(config.docs_dir) / NOTEBOOK).read_text())
    text = "\n\n".join(part for cell in notebook["cells"] for part in _parts(cell))
    page = NOTEBOOK.replace(".ipynb", ".md")
    files.append(File.generated(config, page, content=text))
    return files


def _parts(cell: dict) -> Iterator[str]:
    source = "".join(cell["source"])
    yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
    for output in cell.get("outputs", ()):
        if output.get("name") == "stdout":
            yield f"```text\n{''.join(output['text'])}\n```"
