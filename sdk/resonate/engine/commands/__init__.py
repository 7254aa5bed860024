"""Commands that are not the creation of one promise: each module is a part of the interpreter."""
