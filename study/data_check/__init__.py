"""The data desk: what ``drft-study data`` says and shows of a data source."""
