"""What a run leaves behind: tables of visits, requests and stock, and the run folder."""
