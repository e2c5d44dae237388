"""What a failed check says, and where."""


def describe_fault(fault: Exception) -> str:
    """What went wrong, and where, on one line or more."""
    place = fault.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    assert place is not None
    name = place.tb_frame.f_code.co_filename.rpartition("/")[2]
    kind = "" if isinstance(fault, AssertionError) else f"{type(fault).__name__}: "
    return f"{kind}{str(fault) or 'assertion'} ({name}:{place.tb_lineno})"
