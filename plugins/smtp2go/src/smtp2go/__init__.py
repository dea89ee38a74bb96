"""Email through SMTP2GO: what is made of a message and of an answer, without anything of the host's."""
