"""The page that makes pictures from pictures: painted on, grown, enlarged, cut out, steered."""
