"""Writes replications into the run folder, each as soon as its turn has come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from doorbuster.measures.means import SaleMean, sale_means
from doorbuster.measures.sale_values import SaleMeasure
from doorbuster.records.audit import Audit
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import TABLES
from doorbuster_sim.replication import Replication


class Collector:
    """The records of a run that grows.

    Each sale goes into the spool, which survives a kill and a full disk, and into the Parquet
    tables, which replace the spool once they are whole.
    """

    def __init__(
        self, folder: RunFolder, measures: Sequence[SaleMeasure], *, books: Sequence[str]
    ) -> None:
        self._folder, self._measures = folder, measures
        # Where only counts are kept, there are no books.
        names = (*TABLES, *books)
        self._spools = {name: folder.spool(name, "sim") for name in names}
        self._journal = folder.journal()
        self._tables = {name: folder.table_writer(name) for name in names}
        self._audits: list[Audit] = []
        self._tallies: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {"replication_seeds": [], "stations": []}
        self.values: list[tuple[float, ...]] = []

    @property
    def kept_count(self) -> int:
        """Replications that are safe."""
        return len(self.values)

    @property
    def means(self) -> list[SaleMean]:
        """The measures over what is kept."""
        return sale_means(self._measures, self.values)

    def keep(self, replication: Replication) -> None:
        """Write the next replication whole or not at all. Raises: OSError, naming the file."""
        self._to_spool(replication)
        number, sale = replication.number, replication.sale
        self._audits.append(sale.audit)
        if sale.tally is not None:
            self._tallies.append(sale.tally.to_json())
        if number == 0:
            self._facts |= {
                "plan_hash": replication.plan_hash,
                "plan_count": replication.plan_count,
            }
        self._facts["replication_seeds"].append(replication.seed)
        self._facts["stations"] += [{"replication": number, **use} for use in sale.stations]
        self.values.append(replication.values)
        for name, writer in self._tables.items():
            writer.append(getattr(sale, name))

    def _to_spool(self, replication: Replication) -> None:
        sale = replication.sale
        appended = []
        try:
            for name, spool in self._spools.items():
                spool.append_table(getattr(sale, name))
                appended.append(spool)
            self._journal.append(
                {
                    "replication": replication.number,
                    "seed": replication.seed,
                    "audit": sale.audit.model_dump(),
                    "stations": sale.stations,
                    "tally": sale.tally.to_json() if sale.tally else None,
                }
            )
        except OSError:
            for spool in appended:
                spool.take_back()
            raise

    def finish(self, **facts: Any) -> None:
        """Put the tables in their places and complete run.json.

        Raises: OSError, naming the file; the spool then stays and holds all that was kept.
        """
        for spool in self._spools.values():
            spool.close()
        self._journal.close()
        try:
            for writer in self._tables.values():
                writer.close()
            self._folder.write_audits(self._audits)
            if self._tallies:
                self._folder.write_tallies(self._tallies)
        except OSError:
            for writer in self._tables.values():
                writer.discard()
            with suppress(OSError):
                self._folder.update_run(**{**self._facts, **facts, "status": "failed"})
            raise
        self._folder.update_run(
            **self._facts, measures=[mean.to_json() for mean in self.means], **facts
        )
        self._folder.remove_spool()
