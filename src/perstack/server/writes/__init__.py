"""What may be changed, and under which conditions. Within one write each; what may not be is raised as Refused."""
