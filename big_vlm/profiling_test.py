from big_vlm import profiling


def test_a_profile_of_two_steps(tmp_path, capsys):
  trace = profiling.Trace(tmp_path, start_step=7, steps="2")
  for step in range(8, 13):
    with trace.step(step) as done:
      assert done({"loss": 1}) == {"loss": 1}
    assert (step == 11) == ("profile of steps 10 to 11" in capsys.readouterr().out)
  assert list(tmp_path.glob("profile/**/*.xplane.pb"))
