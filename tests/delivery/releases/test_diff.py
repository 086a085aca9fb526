from handrail.delivery.releases import Sources, diff


class TestDiff:
    def test_is_empty_for_equal_snapshots(self):
        assert diff(Sources({"a": b"1"}), Sources({"a": b"1"})) == []

    def test_names_added_removed_and_changed_files(self):
        changes = diff(Sources({"a": b"1", "b": b"1"}), Sources({"b": b"2", "c": b"3"}))
        assert [(each.path, each.change) for each in changes] == [("a", "removed"), ("b", "changed"), ("c", "added")]

    def test_shows_the_change_as_a_unified_diff(self):
        (change,) = diff(Sources({"a.md": b"one\ntwo\n"}), Sources({"a.md": b"one\nthree"}))
        assert change.unified == (
            "--- a/a.md\n+++ b/a.md\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n\\ No newline at end of file\n"
        )

    def test_shows_an_added_file_against_nothing(self):
        (change,) = diff(Sources({}), Sources({"a.md": b"one\n"}))
        assert change.unified == "--- /dev/null\n+++ b/a.md\n@@ -0,0 +1 @@\n+one\n"
