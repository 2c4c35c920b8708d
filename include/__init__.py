"""The product code of Churnflow, which never imports Airflow."""
