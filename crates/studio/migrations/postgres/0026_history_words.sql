-- PostgreSQL's indexes cannot hold texts as long as prompts may be; it reads the rows, which are small.
SELECT 1;
