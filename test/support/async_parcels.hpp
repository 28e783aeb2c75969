//
// support/async_parcels.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
// Handlers and coroutines that send and receive parcels, by async_send, async_receive and
// make_select, and are cancelled by every type at any moment.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_ASYNC_PARCELS_HPP
#define SPINDLE_TEST_SUPPORT_ASYNC_PARCELS_HPP

#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>

#include <support/asio_fixture.hpp>
#include <support/parcels.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

namespace spindle_test {

enum class form : std::size_t { send, receive, select };

// How often what was cancelled by what.
class cancellations {
public:
    static constexpr asio::cancellation_type types[] = {
        asio::cancellation_type::terminal, asio::cancellation_type::partial,
        asio::cancellation_type::total};

    void count(form f, std::size_t type) { ++n_[static_cast<std::size_t>(f)][type]; }

    // Each form by each type, or the test has shown nothing.
    void settle() const
    {
        for (std::size_t f = 0; f != n_.size(); ++f)
            for (std::size_t type = 0; type != n_[f].size(); ++type)
                BOOST_TEST(n_[f][type] > 0u, "form " << f << " was never cancelled by type " << type);
    }

private:
    std::array<std::array<std::atomic<std::size_t>, 3>, 3> n_{};
};

// One asynchronous operation at a time, on a strand. Goes once there is nothing to do any
// more.
class async_actor : public std::enable_shared_from_this<async_actor> {
public:
    async_actor(world& w, cancellations& c, asio::io_context& ioc, std::uint64_t s)
        : world_(w), cancelled_(c), strand_(asio::make_strand(ioc)), timer_(strand_), random_(s),
          in_{w.channels[0], w.channels[1]}
    {
    }

    void produce_by_handlers()
    {
        asio::post(strand_, [self = shared_from_this()] { self->produce_next(); });
    }
    void produce_by_a_coroutine()
    {
        asio::co_spawn(strand_, produce_all(shared_from_this()), asio::detached);
    }

    // Until both channels are closed and empty; as long as it is open, it is with that side.
    void consume_by_handlers(std::size_t side)
    {
        asio::post(strand_, [self = shared_from_this(), side] { self->consume_next(side); });
    }
    void consume_by_a_coroutine(std::size_t side)
    {
        asio::co_spawn(strand_, consume_all(shared_from_this(), side), asio::detached);
    }

private:
    static constexpr std::size_t nothing = 99;

    template <class Handler>
    auto token(Handler handler)
    {
        return asio::bind_cancellation_slot(
            signal_.slot(), asio::bind_executor(strand_, std::move(handler)));
    }
    auto awaitable_token()
    {
        return asio::bind_cancellation_slot(signal_.slot(), asio::use_awaitable);
    }

    // --- one operation: void(bool), whether there may be another --------------------------

    template <class Token>
    auto async_send_one(Token&& token)
    {
        return asio::async_initiate<Token, void(bool)>(
            [this](auto handler) { this->send_somehow(std::move(handler)); }, token);
    }

    template <class Token>
    auto async_receive_one(std::size_t side, Token&& token)
    {
        return asio::async_initiate<Token, void(bool)>(
            [this, side](auto handler) {
                this->receive_somehow(side, std::move(handler));
            }, token);
    }

    // The functions of the cases: which of them has run.
    auto note(std::size_t which)
    {
        return [this, which](auto&&...) {
            world_.book().check(std::exchange(ran_, which) == nothing);
        };
    }

    auto take(std::size_t which, std::optional<std::size_t> from = {})
    {
        return [this, which, from](std::optional<parcel> v) {
            note(which)();
            if (v)
                world_.book().received(*v);
            else if (from)
                in_[*from] = {};
        };
    }

    // Of a send, or a select that may send; `sends` are the cases that do.
    template <class Handler>
    auto after_send(form f, std::initializer_list<unsigned> sends, Handler handler)
    {
        unsigned mask = 0;
        for (auto const each : sends)
            mask |= 1u << each;
        auto const slot = asio::get_associated_cancellation_slot(handler);
        return asio::bind_cancellation_slot(
            slot,
            asio::bind_executor(
                strand_, [this, f, mask, h = std::move(handler)](
                             error_code ec, std::size_t which = 0) mutable {
                    auto& a = world_.book();
                    auto const how = outcome_of(ec, a);
                    auto const may_send = ((mask >> which) & 1) != 0;
                    if (f == form::send)
                        ran_ = ec ? nothing : which;
                    if (how == outcome::closed)
                        a.check(may_send);
                    if (how == outcome::sent && may_send)
                        a.sent(*held_);
                    end(f, ec, which);
                    held_.reset(); // lost, if it was not sent
                    std::move(h)(how != outcome::closed);
                }));
    }

    template <class Handler>
    auto after_receive(Handler handler)
    {
        auto const slot = asio::get_associated_cancellation_slot(handler);
        return asio::bind_cancellation_slot(
            slot,
            asio::bind_executor(
                strand_,
                [this, h = std::move(handler)](error_code ec, std::size_t which) mutable {
                    world_.book().check(!ec || ec == aborted);
                    end(form::select, ec, which);
                    std::move(h)(true);
                }));
    }

    template <class Handler>
    void send_somehow(Handler handler)
    {
        using namespace spindle;
        begin();
        auto const n = *held_;
        auto const side = random_() % 2;
        auto const& here = world_.channels[side];
        auto const& there = world_.channels[1 - side];
        auto const time = some_time(random_);
        switch (random_() % 8) {
        case 0:
            make_select(on_send(here, parcel(n), note(0)), on_send(there, parcel(n), note(1)))
                .async_wait(after_send(form::select, {0, 1}, std::move(handler)));
            break;
        case 1:
            make_select(on_timeout(time, note(0)), on_send(here, parcel(n), note(1)))
                .async_wait(after_send(form::select, {1}, std::move(handler)));
            break;
        case 2:
            // Both ways at once; it does not receive what it sends itself.
            make_select(
                on_receive(here, take(0)), on_send(here, parcel(n), note(1)),
                on_receive(there, take(2)), on_timeout(time, note(3)))
                .async_wait(after_send(form::select, {1}, std::move(handler)));
            break;
        case 3:
            make_select(on_send(here, parcel(n), note(0)), on_stop(world_.clock.token(), note(1)))
                .async_wait(after_send(form::select, {0}, std::move(handler)));
            break;
        case 4:
            make_select(
                on_send(here, parcel(n), note(0)), on_send(there, parcel(n), note(1)),
                otherwise(note(2)))
                .async_wait(after_send(form::select, {0, 1}, std::move(handler)));
            break;
        case 5:
            timer_.expires_after(time);
            make_select(
                on_completion(timer_.async_wait(asio::deferred), note(0)),
                on_send(here, parcel(n), note(1)))
                .async_wait(after_send(form::select, {1}, std::move(handler)));
            break;
        default:
            here.async_send(parcel(n), after_send(form::send, {0}, std::move(handler)));
            break;
        }
    }

    template <class Handler>
    void receive_somehow(std::size_t side, Handler handler)
    {
        using namespace spindle;
        begin();
        auto const time = some_time(random_);
        switch (random_() % 8) {
        case 0:
            make_select(on_receive(in_[0], take(0, 0)), on_receive(in_[1], take(1, 1)))
                .async_wait(after_receive(std::move(handler)));
            break;
        case 1:
            make_select(on_receive(in_[side], take(0, side)), on_timeout(time, note(1)))
                .async_wait(after_receive(std::move(handler)));
            break;
        case 2:
            make_select(
                on_stop(world_.clock.token(), note(0)), on_receive(in_[1], take(1, 1)),
                on_receive(in_[0], take(2, 0)))
                .async_wait(after_receive(std::move(handler)));
            break;
        case 3:
            make_select(
                on_receive(in_[0], take(0, 0)), otherwise(note(1)), on_receive(in_[1], take(2, 1)))
                .async_wait(after_receive(std::move(handler)));
            break;
        case 4:
            timer_.expires_after(time);
            make_select(
                on_receive(in_[side], take(0, side)), on_receive(in_[side], take(1, side)),
                on_completion(timer_.async_wait(asio::deferred), note(2)))
                .async_wait(after_receive(std::move(handler)));
            break;
        default: {
            auto const slot = asio::get_associated_cancellation_slot(handler);
            in_[side].async_receive(asio::bind_cancellation_slot(
                slot,
                asio::bind_executor(
                    strand_, [this, side, h = std::move(handler)](
                                 error_code ec, std::optional<parcel> v) mutable {
                        world_.book().check(!ec || !v);
                        if (!ec)
                            take(0, side)(std::move(v));
                        end(form::receive, ec, 0);
                        std::move(h)(true);
                    })));
            break;
        }
        }
    }

    void begin()
    {
        ran_ = nothing;
        asked_ = false;
    }

    // Exactly the case that it says has run, and none where it has failed; it is cancelled
    // only where it was asked.
    void end(form f, error_code ec, std::size_t which)
    {
        auto& a = world_.book();
        a.check(ran_ == (ec ? nothing : which));
        if (ec == aborted) {
            a.check(asked_);
            cancelled_.count(f, type_);
        }
    }

    // --- chains and loops -----------------------------------------------------------------

    void produce_next()
    {
        if (!has_next())
            return;
        auto const at_once = cancel_some_time();
        async_send_one(token([self = shared_from_this()](bool go_on) {
            if (go_on)
                self->produce_next();
        }));
        if (at_once)
            emit();
    }

    static asio::awaitable<void> produce_all(std::shared_ptr<async_actor> self)
    {
        for (bool go_on = true; go_on && self->has_next();) {
            if (self->cancel_some_time())
                self->emit_after(0);
            go_on = co_await self->async_send_one(self->awaitable_token());
        }
    }

    void consume_next(std::size_t mine)
    {
        if (!in_[0] && !in_[1])
            return;
        auto const at_once = cancel_some_time();
        async_receive_one(
            in_[mine] ? mine : 1 - mine,
            token([self = shared_from_this(), mine](bool) { self->consume_next(mine); }));
        if (at_once)
            emit();
    }

    static asio::awaitable<void> consume_all(std::shared_ptr<async_actor> self, std::size_t mine)
    {
        while (self->in_[0] || self->in_[1]) {
            if (self->cancel_some_time())
                self->emit_after(0);
            co_await self->async_receive_one(
                self->in_[mine] ? mine : 1 - mine, self->awaitable_token());
        }
    }

    bool has_next()
    {
        if (!held_)
            held_ = world_.next();
        return held_.has_value();
    }

    // --- cancelling -----------------------------------------------------------------------

    // True: as soon as it has begun.
    bool cancel_some_time()
    {
        switch (random_() % 6) {
        case 0:
            return true;
        case 1:
            emit_after(random_() % 8);
            return false;
        case 2: {
            auto const timer = std::make_shared<asio::steady_timer>(strand_, some_time(random_));
            timer->async_wait([self = shared_from_this(), timer](error_code) { self->emit(); });
            return false;
        }
        default:
            return false;
        }
    }

    void emit_after(std::size_t turns)
    {
        asio::post(strand_, [self = shared_from_this(), turns] {
            if (turns == 0)
                self->emit();
            else
                self->emit_after(turns - 1);
        });
    }

    void emit()
    {
        if (random_() % 4 == 0) {
            signal_.emit(asio::cancellation_type::none); // asks for nothing
            return;
        }
        if (std::exchange(asked_, true))
            return; // by one type, so that it is known by which
        type_ = random_() % 3;
        signal_.emit(cancellations::types[type_]);
    }

    world& world_;
    cancellations& cancelled_;
    asio::strand<asio::io_context::executor_type> strand_;
    asio::steady_timer timer_; // of a select
    random_engine random_;
    asio::cancellation_signal signal_;
    spindle::receive_channel<parcel> in_[2];
    std::optional<std::size_t> held_;
    std::size_t ran_ = nothing; // of the operation under way
    bool asked_ = false;
    std::size_t type_ = 0;
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_ASYNC_PARCELS_HPP
