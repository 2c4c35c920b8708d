"""The customer who is erased."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.errors import ChurnflowError
from include.projects import Project
from include.sources.customer_ids import gold_ids


class CustomerIdError(ChurnflowError):
    """A text cannot be the id of a customer."""


@dataclass(frozen=True)
class Customer:
    """The customer who is erased.

    Attributes:
        customer_id: The id as gold has it; it must not appear in logs and messages.
    """

    customer_id: str = field(repr=False)

    def is_named(self, customer_id: str) -> bool:
        """Return whether an id, without blanks at its ends, is the customer's."""
        return customer_id.strip() == self.customer_id


def find_customer(project: Project, text: str) -> Customer:
    """Return the customer with an id, which is read like the ids in the source of the population.

    A text that cannot be read as the type of these ids is compared as it is, since quarantine may contain it.

    Args:
        project: The project.
        text: The id.

    Raises:
        CustomerIdError: The text is empty, or means *no value*.
    """
    source = project.sources[project.population.source]
    found = gold_ids(source, [text])
    if not found:
        raise CustomerIdError(
            "The text is not the id of a customer: it is empty, or means no value.",
            where="the id of the customer",
            remedy="Pass the id as in gold/features.",
        )
    return Customer(found[text])
