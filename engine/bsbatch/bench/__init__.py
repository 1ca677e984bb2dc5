"""``bsbatch bench``: throughput and latency of one stage of a run, in trtexec's terms."""
