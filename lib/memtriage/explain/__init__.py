"""Where all the memory is, for a person: what is short, who holds what, and what could not be seen. Data first; one module prints it."""
