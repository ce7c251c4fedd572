from ui.pages.steady import BOUNCE_SECONDS, HELD_SECONDS, JUST_MOVED_SECONDS, Steady


class Hand:
    """A clock that a test moves on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_tap_right_after_a_list_moved_may_be_meant_for_another_item() -> None:
    hand = Hand()
    steady = Steady(hand)
    assert not steady.just_moved("alarms")
    steady.moved("alarms")
    assert steady.just_moved("alarms")
    assert not steady.just_moved("defects")
    hand.now += JUST_MOVED_SECONDS + 0.01
    assert not steady.just_moved("alarms")


def test_a_list_that_was_used_stands_still_for_a_moment() -> None:
    hand = Hand()
    steady = Steady(hand)
    steady.used("defects")
    assert steady.is_held("defects")
    hand.now += HELD_SECONDS + 0.01
    assert not steady.is_held("defects")


def test_the_second_of_two_quick_taps_is_a_bounce_and_the_third_is_not() -> None:
    hand = Hand()
    steady = Steady(hand)
    assert not steady.bounced("missed top")
    hand.now += BOUNCE_SECONDS / 2
    assert steady.bounced("missed top")
    hand.now += BOUNCE_SECONDS / 2 + 0.01
    assert not steady.bounced("missed top")
