"""What the C library does with memory that is freed."""

import ctypes

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1024 * 1024


def return_large_blocks() -> None:
    """A block of a megabyte or more goes back to the system when it is freed.

    glibc raises that bound to 32 MB by itself, and each thread keeps what it once needed: twelve pictures of 25 megapixels left 1.5 GB in a
    web process that needs 0.1 (measured). Other C libraries have no such bound to set.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
