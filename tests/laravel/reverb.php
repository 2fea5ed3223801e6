<?php

/*
 * Stand-ins of the classes of Laravel Reverb and Laravel Pulse that the provider uses.
 */

namespace Laravel\Reverb {
    use Illuminate\Console\Application as Artisan;
    use Illuminate\Support\ServiceProvider;
    use Laravel\Reverb\Servers\Reverb\Console\Commands\RestartServer;
    use Laravel\Reverb\Servers\Reverb\Console\Commands\StartServer;

    class ReverbServiceProvider extends ServiceProvider
    {
        public function boot(): void
        {
            Artisan::starting(function ($artisan) {
                $artisan->resolve(StartServer::class);
                $artisan->resolve(RestartServer::class);
            });
        }
    }

    class Application
    {
        public function __construct(protected array $app)
        {
        }

        public function __call($name, $arguments)
        {
            $keys = [
                'id' => 'app_id', 'key' => 'key', 'secret' => 'secret', 'pingInterval' => 'ping_interval',
                'activityTimeout' => 'activity_timeout', 'allowedOrigins' => 'allowed_origins',
                'maxMessageSize' => 'max_message_size', 'maxConnections' => 'max_connections',
            ];

            return $this->app[$keys[$name]] ?? null;
        }

        public function acceptClientEventsFrom(): string
        {
            return $this->app['accept_client_events_from'] ?? 'all';
        }

        public function rateLimiting(): ?array
        {
            return $this->app['rate_limiting'] ?? null;
        }
    }

    class Connection extends Contracts\Connection
    {
        protected ?string $id = null;

        public function id(): string
        {
            return $this->id ??= '1.1';
        }

        public function send(string $message): void
        {
            $this->connection->send($message);
        }

        public function terminate(): void
        {
            $this->connection->close();
        }
    }
}

namespace Laravel\Reverb\Contracts {
    interface ApplicationProvider
    {
    }

    interface WebSocketConnection
    {
        public function id(): int|string;

        public function send(mixed $message): void;

        public function close(mixed $message = null): void;
    }

    abstract class Connection
    {
        public function __construct(protected WebSocketConnection $connection, protected $application, protected ?string $origin)
        {
        }

        public function identifier(): string
        {
            return (string) $this->connection->id();
        }

        public function app()
        {
            return $this->application;
        }

        public function origin(): ?string
        {
            return $this->origin;
        }
    }
}

namespace Laravel\Reverb\Exceptions {
    class InvalidApplication extends \Exception
    {
    }
}

namespace Laravel\Reverb\Servers\Reverb\Console\Commands {
    use Illuminate\Console\Command;
    use Symfony\Component\Console\Attribute\AsCommand;

    #[AsCommand(name: 'reverb:start')]
    class StartServer extends Command
    {
        protected $signature = 'reverb:start
            {--host= : The IP address the server should bind to}
            {--port= : The port the server should listen on}
            {--path= : The path the server should prefix to all routes}
            {--hostname= : The hostname the server is accessible from}
            {--debug : Indicates whether debug messages should be displayed in the terminal}';

        public function handle(): void
        {
            $this->components->info('Starting server');
        }

        public function getSubscribedSignals(): array
        {
            return [SIGINT, SIGTERM, SIGTSTP];
        }
    }

    #[AsCommand(name: 'reverb:restart')]
    class RestartServer extends Command
    {
        protected $signature = 'reverb:restart';

        public function handle(): void
        {
            // The database is a cache store that the server does not read.
            if (getenv('STAND_IN_DATABASE') === 'down') {
                throw new \RuntimeException('the database is down');
            }

            file_put_contents(app()->base.'/database', 'laravel:reverb:restart='.time());

            $this->components->info('Broadcasting Reverb restart signal.');
        }
    }
}

namespace Laravel\Reverb\Protocols\Pusher\Contracts {
    interface ChannelConnectionManager
    {
    }
}

namespace Laravel\Reverb\Protocols\Pusher\Managers {
    class ArrayChannelConnectionManager implements \Laravel\Reverb\Protocols\Pusher\Contracts\ChannelConnectionManager
    {
        public function for(string $name): static
        {
            return $this;
        }
    }
}

namespace Laravel\Reverb\Protocols\Pusher\Channels {
    use Laravel\Reverb\Contracts\Connection;
    use Laravel\Reverb\Protocols\Pusher\Contracts\ChannelConnectionManager;

    class Channel
    {
        public function __construct(protected string $name)
        {
            if (! app()->bound(ChannelConnectionManager::class)) {
                throw new \LogicException('Target [ChannelConnectionManager] is not instantiable.');
            }

            app(ChannelConnectionManager::class)->for($name);
        }

        public function name(): string
        {
            return $this->name;
        }

        public function data(): array
        {
            return [];
        }
    }

    class PresenceChannel extends Channel
    {
    }

    class ChannelBroker
    {
        public static function create(string $name): Channel
        {
            return str_starts_with($name, 'presence') ? new PresenceChannel($name) : new Channel($name);
        }
    }

    class ChannelConnection
    {
        public function __construct(protected Connection $connection, protected array $data = [])
        {
        }

        public function data(?string $key = null): mixed
        {
            return $key ? ($this->data[$key] ?? null) : $this->data;
        }

        public function __call($method, $parameters)
        {
            return $this->connection->{$method}(...$parameters);
        }
    }
}

namespace Laravel\Reverb\Events {
    use Laravel\Reverb\Contracts\Connection;
    use Laravel\Reverb\Protocols\Pusher\Channels\Channel;
    use Laravel\Reverb\Protocols\Pusher\Channels\ChannelConnection;

    trait Dispatchable
    {
        public static function dispatch(...$arguments): void
        {
            event(new static(...$arguments));
        }
    }

    class ChannelCreated
    {
        use Dispatchable;

        public function __construct(public Channel $channel)
        {
        }
    }

    class ChannelRemoved
    {
        use Dispatchable;

        public function __construct(public Channel $channel)
        {
        }
    }

    class ConnectionPruned
    {
        use Dispatchable;

        public function __construct(public ChannelConnection $connection)
        {
        }
    }

    class MessageReceived
    {
        use Dispatchable;

        public function __construct(public Connection $connection, public string $message)
        {
        }
    }

    class MessageSent
    {
        use Dispatchable;

        public function __construct(public Connection $connection, public string $message)
        {
        }
    }
}

namespace Laravel\Reverb\Pulse\Recorders {
    class ReverbMessages
    {
    }
}

namespace Laravel\Pulse {
    class Entry
    {
        public int $counts = 0;

        public bool $onlyBuckets = false;

        public function __construct(public int $timestamp, public string $type, public string $key)
        {
        }

        public function onlyBuckets(): static
        {
            $this->onlyBuckets = true;

            return $this;
        }

        public function count(): static
        {
            $this->counts++;

            return $this;
        }
    }

    class Pulse
    {
        public array $entries = [];

        public bool $records = true;

        public function record(string $type, string $key, ?int $value = null, ?int $timestamp = null): Entry
        {
            return $this->entries[] = new Entry($timestamp, $type, $key);
        }

        public function ignore($callback): mixed
        {
            $this->records = false;

            try {
                return $callback();
            } finally {
                $this->records = true;
            }
        }
    }
}
