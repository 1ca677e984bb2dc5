"""How fast is it here: one stage of a run, measured by itself in trtexec's words."""
