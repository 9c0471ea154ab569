"""The example notebooks run in a real kernel, where results and progress show themselves."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import run_notebooks  # noqa: E402

kernels = pytest.mark.filterwarnings("ignore")  # those of other people's packages, about their own future


@kernels
@pytest.mark.pages
@pytest.mark.parametrize("path", run_notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_results(path):
    cells = [cell for cell in run_notebooks.run(path).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    shown = "".join(output.data["text/html"] for output in outputs if "text/html" in output.get("data", {}))
    assert "<table" in shown or "<svg" in shown
    assert "<script" not in shown


@kernels
@pytest.mark.pages
def test_training_shows_a_bar_that_needs_no_widgets(tmp_path):
    import nbformat

    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell("import sys; sys.modules['ipywidgets'] = None; import fourfold"),
        nbformat.v4.new_code_cell(
            "run = fourfold.fit('flow', 'two-moons', budget='30 steps', size='xs', precision='float32')"
        ),
        nbformat.v4.new_code_cell(
            "seen = []; fourfold.fit('flow', 'two-moons', budget='2 steps', size='xs', say=print)"
        ),
        nbformat.v4.new_code_cell("run.card['steps']"),
    ]
    path = tmp_path / "bar.ipynb"
    nbformat.write(book, path)
    _, bar, quiet, last = run_notebooks.run(path).cells
    (output,) = bar.outputs
    assert '<progress max="1" value="1.000">' in output.data["text/html"]
    assert "steps/s" in output.data["text/html"]
    assert not any("<progress" in str(output) for output in quiet.outputs)  # who listens gets no bar
    assert last.outputs[0].data["text/plain"] == "30"


def test_notebooks_are_committed_with_small_outputs_and_without_errors():
    assert run_notebooks.NOTEBOOKS
    for path in run_notebooks.NOTEBOOKS:
        assert path.stat().st_size < run_notebooks.LARGEST, path
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] or "\n" in "".join(cell["source"]) for cell in cells), path
        assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"]), path
