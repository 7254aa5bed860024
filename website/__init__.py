"""Documentation site: its build, its checks, and the extension for its pages. `make docs` runs `website.build`."""
