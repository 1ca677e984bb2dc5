"""The first 8 KiB of every object below a prefix with s3fs, 64 at once; its interpreter has no other package.

``python s3fs_heads.py ENDPOINT PREFIX`` prints objects, seconds, and seconds of the processor.
"""

import sys
import time

import s3fs

AT_ONCE, HEAD = 64, 8192


def main() -> None:
    """List and read once to warm up, and once with a clock."""
    endpoint, prefix = sys.argv[1:]
    store = s3fs.S3FileSystem(key="nobody", secret="nothing", endpoint_url=endpoint, use_listings_cache=False)
    read(store, prefix)
    began, busy = time.perf_counter(), time.process_time()
    number = read(store, prefix)
    print(number, time.perf_counter() - began, time.process_time() - busy)


def read(store: s3fs.S3FileSystem, prefix: str) -> int:
    """Read the objects; the number of those that are not empty."""
    paths = store.find(prefix)
    return sum(map(bool, store.cat_ranges(paths, 0, HEAD, batch_size=AT_ONCE)))


if __name__ == "__main__":
    main()
