"""Other trainers: what each can carry of a schedule, and the files that make it do so."""
