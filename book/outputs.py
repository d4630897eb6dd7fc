"""Notebooks as they are kept: clean outputs, written whole, with the text of today."""

from __future__ import annotations

from pathlib import Path


def clean(notebook):
    """Keep what a reader sees and drop what changes from run to run: times, widget
    state, versions.
    """
    count, seen = 0, set()
    for index, cell in enumerate(notebook.cells):
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = f"cell-{index:02d}"
        seen.add(cell["id"])
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            count += 1
            cell.execution_count = count
        cell.outputs = joined_streams(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = cell.execution_count
    kernel = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    language = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(
        kernelspec=kernel, language_info={**language, "pygments_lexer": "ipython3"}
    )
    notebook.nbformat_minor = max(5, notebook.nbformat_minor)
    return notebook


def joined_streams(outputs: list) -> list:
    """How a stream is cut into pieces is chance: join neighbours."""
    joined: list = []
    for output in outputs:
        if (
            joined
            and output.output_type == "stream" == joined[-1].output_type
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def write_notebook(notebook, path: Path) -> None:
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    nbformat.write(notebook, beside)
    beside.replace(path)  # never half a notebook


def refresh_text(source: Path, done: Path) -> None:
    """Take over captions and other metadata that the key leaves out, keeping the
    outputs of the run.
    """
    import nbformat

    new, old = nbformat.read(source, as_version=4), nbformat.read(done, as_version=4)
    for fresh, ran in zip(new.cells, old.cells, strict=True):
        if fresh.cell_type == "code":
            fresh.outputs, fresh.execution_count = ran.outputs, ran.execution_count
    write_notebook(clean(new), done)
