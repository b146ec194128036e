"""However many runs were left running, all of them are closed: a store answers in pages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ledger_files import study_row

from atod_sweep.records.ledger import Ledger
from atod_sweep.sweep.mlflow.left_running import close_left_running


class Page(list):
    token = None


class Store:
    """`parents` runs of one folder with `children` each; a page holds two, and what is closed is found no more."""

    def __init__(self, folder, parents, children):
        self.running = {}
        for i in range(parents):
            self.running[f"p{i}"] = ("", SimpleNamespace(tags={"atod.folder": str(folder)}))
            self.running |= {f"p{i}c{j}": (f"p{i}", None) for j in range(children)}

    def search_runs(self, experiments, query, max_results, page_token=0):
        children_of = query.rpartition("mlflow.parentRunId` = ")[2].strip("'") if "parentRunId" in query else ""
        found = [
            SimpleNamespace(info=SimpleNamespace(run_id=run), data=data)
            for run, (parent, data) in self.running.items()
            if parent == children_of
        ]
        page = Page(found[page_token : page_token + 2])
        page.token = page_token + 2 if page_token + 2 < len(found) else None
        return page

    def set_terminated(self, run, status):
        assert status == "KILLED"
        del self.running[run]


@pytest.mark.parametrize(("parents", "children"), [(0, 0), (1, 0), (1, 2), (1, 3), (3, 0), (5, 5)])
def test_all_of_them_are_closed(tmp_path, parents, children):
    with Ledger(tmp_path / "dead") as writer:
        writer.append(study_row())
    store = Store(tmp_path / "dead", parents, children)
    close_left_running(store, "1", "own")
    assert store.running == {}
