"""What can be asked of a teacher, wherever it lives: one file per kind of place, and what they have in common.

`teacher` holds the interface; `local` a teacher whose weights are here, `shared` one of several trials; `server` and
`chat` those behind an API, which share `remote`, the `client` that asks, and the `answers` that were paid for.
"""
