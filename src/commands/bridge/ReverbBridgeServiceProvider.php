<?php

namespace App\Providers;

use Closure;
use Dotenv\Dotenv;
use Illuminate\Cache\FileStore;
use Illuminate\Console\Application as Artisan;
use Illuminate\Console\Command;
use Illuminate\Http\Request;
use Illuminate\Http\Response;
use Illuminate\Support\ServiceProvider;
use JsonException;
use Laravel\Pulse\Pulse;
use Laravel\Reverb\Application;
use Laravel\Reverb\Connection;
use Laravel\Reverb\Contracts\ApplicationProvider;
use Laravel\Reverb\Contracts\WebSocketConnection;
use Laravel\Reverb\Events\ChannelCreated;
use Laravel\Reverb\Events\ChannelRemoved;
use Laravel\Reverb\Events\ConnectionPruned;
use Laravel\Reverb\Events\MessageReceived;
use Laravel\Reverb\Events\MessageSent;
use Laravel\Reverb\Exceptions\InvalidApplication;
use Laravel\Reverb\Protocols\Pusher\Channels\Channel;
use Laravel\Reverb\Protocols\Pusher\Channels\ChannelBroker;
use Laravel\Reverb\Protocols\Pusher\Channels\ChannelConnection;
use Laravel\Reverb\Protocols\Pusher\Contracts\ChannelConnectionManager;
use Laravel\Reverb\Protocols\Pusher\Managers\ArrayChannelConnectionManager;
use Laravel\Reverb\Pulse\Recorders\ReverbMessages;
use Laravel\Reverb\ReverbServiceProvider;
use Laravel\Reverb\Servers\Reverb\Console\Commands\RestartServer;
use Laravel\Reverb\Servers\Reverb\Console\Commands\StartServer;
use LogicException;
use RuntimeException;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Output\OutputInterface;
use Throwable;

/**
 * Connects this application to the `reverb` binary, which serves in place of Laravel Reverb.
 *
 * `reverb install` wrote this file and replaces it when a newer release has another version of it;
 * `reverb install --remove` deletes it. The manual page reverb-laravel(7) describes what it does.
 */
class ReverbBridgeServiceProvider extends ServiceProvider
{
    /**
     * The version of this file, which the binary compares with its own.
     */
    public const VERSION = 1;

    /**
     * The environment variables that the binary keeps. The hand-over has the other variables that
     * the binary uses, because Laravel adds the values of the .env file to the environment of this
     * process.
     */
    protected const KEPT = '/^(PATH|HOME|TZ|LANG|LC_\w+|SSL_CERT_\w+|NOTIFY_SOCKET|WATCHDOG_\w+|LISTEN_\w+)$/';

    /**
     * The environment variables that are handed over.
     */
    protected const HANDED_OVER = '/^((REVERB|VITE_REVERB|REDIS|CACHE|PULSE|BROADCAST)_\w+|APP_(ENV|NAME|URL))$/';

    /**
     * The longest time in seconds between an event and its delivery to this application.
     */
    protected const MAX_AGE = 300;

    /**
     * Register the commands that replace those of Laravel Reverb.
     */
    public function register(): void
    {
        if (! class_exists(ReverbServiceProvider::class)) {
            return;
        }

        $this->app->instance(static::class, $this);
        // The channel of an event needs it, also in a queue worker.
        $this->app->bindIf(ChannelConnectionManager::class, ArrayChannelConnectionManager::class);

        if ($this->app->runningInConsole()) {
            // Laravel Reverb resolves its commands through the container, at once or when they are
            // run, so these bindings apply in either order of the providers.
            $this->app->bind(StartServer::class, fn () => $this->startCommand());
            $this->app->bind(RestartServer::class, fn () => $this->restartCommand());

            Artisan::starting(fn ($artisan) => $artisan->resolve($this->reloadCommand()));
        }
    }

    /**
     * Register the route to which the server posts events.
     */
    public function boot(): void
    {
        if (class_exists(ReverbServiceProvider::class) && ! $this->app->routesAreCached()) {
            $this->app->make('router')
                ->post('reverb/events', [static::class, 'receive'])
                ->name('reverb.events');
        }
    }

    /**
     * Create the `reverb:start` command, which becomes the server.
     */
    protected function startCommand(): StartServer
    {
        return new class($this) extends StartServer
        {
            public function __construct(protected ReverbBridgeServiceProvider $bridge)
            {
                parent::__construct();
            }

            protected function execute(InputInterface $input, OutputInterface $output): int
            {
                if (! $this->bridge->binary()) {
                    $this->components->warn($this->bridge->notFound().' Starting Laravel Reverb instead.');

                    return (int) parent::execute($input, $output);
                }

                try {
                    return $this->bridge->start(array_filter([
                        'host' => $this->option('host'),
                        'port' => $this->option('port'),
                        // Older releases of Laravel Reverb lack it.
                        'path' => $this->hasOption('path') ? $this->option('path') : null,
                        'hostname' => $this->option('hostname'),
                    ]), (bool) $this->option('debug'));
                } catch (RuntimeException $e) {
                    $this->components->error($e->getMessage());

                    return 1;
                }
            }

            public function getSubscribedSignals(): array
            {
                return $this->bridge->binary() ? [] : parent::getSubscribedSignals();
            }
        };
    }

    /**
     * Create the `reverb:restart` command, which reaches the server with every cache store.
     */
    protected function restartCommand(): RestartServer
    {
        return new class($this) extends RestartServer
        {
            public function __construct(protected ReverbBridgeServiceProvider $bridge)
            {
                parent::__construct();
            }

            protected function execute(InputInterface $input, OutputInterface $output): int
            {
                try {
                    $status = (int) parent::execute($input, $output);
                } finally {
                    // Also when the cache store of the application cannot be reached.
                    $failure = $this->bridge->requestRestart();
                }

                if ($failure !== null) {
                    $this->components->error($failure);
                }

                return $failure === null ? $status : 1;
            }
        };
    }

    /**
     * Create the `reverb:reload` command.
     */
    protected function reloadCommand(): Command
    {
        return new class($this) extends Command
        {
            protected $signature = 'reverb:reload
                {--host= : The IP address the server is bound to}
                {--port= : The port the server listens on}';

            protected $description = 'Apply the configuration to the running Reverb server and keep its connections';

            public function __construct(protected ReverbBridgeServiceProvider $bridge)
            {
                parent::__construct();
            }

            public function handle(): int
            {
                try {
                    return $this->bridge->reload(array_filter([
                        'host' => $this->option('host'),
                        'port' => $this->option('port'),
                    ]));
                } catch (RuntimeException $e) {
                    $this->components->error($e->getMessage());

                    return 1;
                }
            }
        };
    }

    /**
     * Hand over the configuration, and become the server.
     */
    public function start(array $flags, bool $debug): int
    {
        $this->ensureNothingListens($flags);
        $this->write($this->configuration($flags));

        $arguments = ['start', '--config', $this->file(), ...$this->arguments($flags), ...($debug ? ['--debug'] : [])];

        if (function_exists('pcntl_exec')) {
            // This returns only on failure.
            @pcntl_exec($this->binary(), $arguments, $this->variables());

            throw new RuntimeException("Cannot execute [{$this->binary()}]: ".pcntl_strerror(pcntl_get_last_error()).'.');
        }

        // The server stops when this process ends, because that closes its standard input.
        return $this->run([...$arguments, '--stop-with-stdin'], ['pipe', 'r']);
    }

    /**
     * Hand over the configuration, and apply it to the running server.
     */
    public function reload(array $flags): int
    {
        if (! $this->binary()) {
            throw new RuntimeException($this->notFound());
        }

        $owner = is_file($this->file()) ? fileowner($this->file()) : false;
        $user = function_exists('posix_geteuid') ? posix_geteuid() : $owner;

        if ($owner !== false && $user !== 0 && $user !== $owner) {
            $name = posix_getpwuid($owner)['name'] ?? $owner;

            throw new RuntimeException("The server belongs to the user [{$name}]. Run this command as that user.");
        }

        $before = $owner === false ? null : (string) file_get_contents($this->file());
        $time = $owner === false ? null : filemtime($this->file());
        $started = json_decode($before ?? '', true)['artisan'] ?? [];
        $environment = basename($started['environment_file'] ?? $this->app->environmentFilePath());

        if ($environment !== basename($this->app->environmentFilePath())) {
            $option = $environment === '.env' ? 'without --env' : 'with --env='.substr($environment, 5);

            throw new RuntimeException("The server was started with [{$environment}]. Run this command {$option}.");
        }

        $this->write($this->configuration($started['flags'] ?? [], $started['environment'] ?? []), $owner);
        $status = 1;

        try {
            return $status = $this->run(['reload', '--config', $this->file(), ...$this->arguments($flags)], STDIN);
        } finally {
            if ($status !== 0) {
                // The server keeps its configuration, so the next reload by a signal must not read this one.
                $before === null ? @unlink($this->file()) : $this->write($before, $owner, $time);
            }
        }
    }

    /**
     * Make sure that no server listens at the address of the new one. The running server would read
     * the hand-over of the new one at its next reload, because both use one file.
     */
    protected function ensureNothingListens(array $flags): void
    {
        $config = $this->app->make('config')->get('reverb');
        $server = [...($config['servers'][$config['default'] ?? 'reverb'] ?? []), ...$flags];
        $isShared = filter_var($server['reuse_port'] ?? $this->variable('REVERB_SERVER_REUSE_PORT'), FILTER_VALIDATE_BOOLEAN);

        // A service manager may listen for the server, and hand its socket over.
        if (getenv('LISTEN_FDS') || $isShared) {
            return;
        }

        foreach (explode(',', $server['host'] ?? '') as $host) {
            $host = trim($host, ' []');
            $host = ['' => '127.0.0.1', '0.0.0.0' => '127.0.0.1', '::' => '::1'][$host] ?? $host;
            $port = (int) ($server['port'] ?? 8080);
            $address = match (true) {
                str_starts_with($host, '/') => "unix://{$host}",
                str_contains($host, ':') => "tcp://[{$host}]:{$port}",
                default => "tcp://{$host}:{$port}",
            };

            if ($socket = @stream_socket_client($address, $code, $message, 0.5)) {
                fclose($socket);

                $place = explode('://', $address)[1];

                throw new RuntimeException("{$place} is in use. To apply the configuration to a running server, use reverb:reload.");
            }
        }
    }

    /**
     * Request a restart through the file cache, which the server watches whatever the cache store
     * of the application is. Returns why that failed, or null.
     */
    public function requestRestart(): ?string
    {
        $folder = $this->storage().'/framework/cache/data';

        try {
            $store = new FileStore($this->app->make('files'), $folder);

            if ($store->forever('laravel:reverb:restart', time())) {
                return null;
            }

            $reason = 'it cannot be written';
        } catch (Throwable $e) {
            $reason = $e->getMessage();
        }

        $owner = function_exists('posix_geteuid') && is_file($this->file()) ? (int) fileowner($this->file()) : null;
        $name = $owner === null ? '' : ' ['.(posix_getpwuid($owner)['name'] ?? $owner).']';

        return "The server on this machine does not restart, because this user cannot write to [{$folder}]: {$reason}. "
            .($owner !== null && $owner === posix_geteuid()
                ? "Some of it belongs to another user: give all of it to the user of the server{$name}."
                : "Run this command as the user of the server{$name}.");
    }

    /**
     * Get the path of the binary, or null if there is none.
     */
    public function binary(): ?string
    {
        if (PHP_OS_FAMILY === 'Windows') {
            return null;
        }

        $named = $this->variable('REVERB_BINARY');
        $folders = explode(PATH_SEPARATOR, (string) getenv('PATH'));

        foreach ($named ? [$named] : array_map(fn ($folder) => $folder.'/reverb', array_filter($folders)) as $file) {
            if (is_file($file) && is_executable($file)) {
                // A link stays a link, so that a reload finds a newer binary behind it.
                return str_starts_with($file, '/') ? $file : getcwd().'/'.$file;
            }
        }

        return null;
    }

    /**
     * Get the line that says where the binary was looked for.
     */
    public function notFound(): string
    {
        $named = $this->variable('REVERB_BINARY');

        return $named
            ? "REVERB_BINARY names [{$named}], which is not an executable file."
            : 'The reverb binary is not in the PATH. Install it, or name it in REVERB_BINARY.';
    }

    /**
     * Write a configuration to the file that the binary reads.
     */
    protected function write(array|string $configuration, int|false $owner = false, ?int $time = null): void
    {
        $file = $this->file();
        $temporary = $file.'.'.getmypid();
        $mask = umask(0077);

        try {
            $json = is_string($configuration)
                ? $configuration
                : json_encode($configuration, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES);

            if (@file_put_contents($temporary, $json) === false) {
                throw new RuntimeException("The configuration cannot be written to [{$temporary}].");
            }

            if ($owner !== false && $owner !== fileowner($temporary)) {
                chown($temporary, $owner);
            }

            if ($time !== null) {
                touch($temporary, $time);
            }

            if (! @rename($temporary, $file)) {
                throw new RuntimeException("The configuration cannot be written to [{$file}].");
            }
        } catch (JsonException $e) {
            throw new RuntimeException("The configuration in config/reverb.php cannot be written as JSON: {$e->getMessage()}.");
        } finally {
            umask($mask);
            @unlink($temporary);
        }
    }

    /**
     * Get the resolved configuration, and what else the binary needs of this application. The
     * variables of the process that has started the server stay in force.
     */
    protected function configuration(array $flags, array $variables = []): array
    {
        $config = $this->app->make('config')->get('reverb');
        $server = $config['default'] ?? 'reverb';
        $config['servers'][$server] = [...($config['servers'][$server] ?? []), ...$flags];

        if (($config['apps']['provider'] ?? 'config') !== 'config') {
            $config['apps'] = ['provider' => 'config', 'apps' => $this->applications()];
        }

        return [...$config, 'artisan' => [
            'version' => static::VERSION,
            'provider' => __FILE__,
            'environment_file' => $this->app->environmentFilePath(),
            'config_folder' => $this->app->configPath(),
            'config_cache' => $this->app->getCachedConfigPath(),
            'is_cached' => $this->app->configurationIsCached(),
            'storage' => $this->storage(),
            'events_url' => rtrim((string) $this->app->make('config')->get('app.url'), '/').'/reverb/events',
            'records_messages' => $this->sampleRate() !== null,
            'flags' => (object) $flags,
            'environment' => (object) [...$variables, ...$this->handedOver()],
        ]];
    }

    /**
     * Get the applications of a provider other than the configuration.
     */
    protected function applications(): array
    {
        return $this->app->make(ApplicationProvider::class)->all()->map(fn (Application $app) => [
            'app_id' => $app->id(),
            'key' => $app->key(),
            'secret' => $app->secret(),
            'ping_interval' => $app->pingInterval(),
            'activity_timeout' => $app->activityTimeout(),
            'allowed_origins' => $app->allowedOrigins(),
            'max_message_size' => $app->maxMessageSize(),
            'max_connections' => $app->maxConnections(),
            // Older releases of Laravel Reverb lack these two.
            'accept_client_events_from' => method_exists($app, 'acceptClientEventsFrom') ? $app->acceptClientEventsFrom() : null,
            'rate_limiting' => method_exists($app, 'rateLimiting') ? $app->rateLimiting() : null,
        ])->values()->all();
    }

    /**
     * Run the binary, and wait until it ends.
     */
    protected function run(array $arguments, mixed $input): int
    {
        if (! function_exists('proc_open')) {
            throw new RuntimeException('PHP cannot start the binary, because its function proc_open is disabled.');
        }

        $process = proc_open([$this->binary(), ...$arguments], [$input, STDOUT, STDERR], $pipes, null, $this->variables());

        if ($process === false) {
            throw new RuntimeException("Cannot execute [{$this->binary()}].");
        }

        while (($status = proc_get_status($process))['running']) {
            usleep(50_000);
        }

        return $status['signaled'] ? 128 + $status['termsig'] : $status['exitcode'];
    }

    /**
     * Get flags as arguments of the binary.
     */
    protected function arguments(array $flags): array
    {
        return array_map(fn ($name, $value) => "--{$name}={$value}", array_keys($flags), $flags);
    }

    /**
     * Get the environment of the binary.
     */
    protected function variables(): array
    {
        return array_filter(getenv(), fn ($name) => preg_match(static::KEPT, $name), ARRAY_FILTER_USE_KEY);
    }

    /**
     * Get the variables of this process that the binary uses, except those of the .env file, which
     * the binary reads itself and reads again when it reloads.
     */
    protected function handedOver(): array
    {
        $file = $this->environmentFile();

        return array_filter(
            getenv(),
            fn ($value, $name) => preg_match(static::HANDED_OVER, $name) && ($file[$name] ?? null) !== $value,
            ARRAY_FILTER_USE_BOTH,
        );
    }

    /**
     * Get a variable, of the process or of the .env file. Laravel does not read that file if its
     * configuration is cached.
     */
    protected function variable(string $name): ?string
    {
        return (getenv($name) ?: ($this->environmentFile()[$name] ?? null)) ?: null;
    }

    /**
     * Get the variables of the .env file.
     */
    protected function environmentFile(): array
    {
        $file = $this->app->environmentFilePath();

        try {
            return is_file($file) ? Dotenv::parse((string) file_get_contents($file)) : [];
        } catch (Throwable) {
            return [];
        }
    }

    /**
     * Get the path of the hand-over.
     */
    protected function file(): string
    {
        return $this->storage().'/framework/cache/reverb.json';
    }

    /**
     * Get the storage folder. Deployment tools link it into the folder of each release, and delete
     * that folder later, while the server still runs.
     */
    protected function storage(): string
    {
        return realpath($this->app->storagePath()) ?: $this->app->storagePath();
    }

    /**
     * Dispatch the events that the server has posted. The request is a webhook of the Pusher
     * protocol, signed with the secret of the app.
     */
    public function receive(Request $request): Response
    {
        try {
            $app = app(ApplicationProvider::class)->findByKey((string) $request->header('X-Pusher-Key'));
        } catch (InvalidApplication) {
            return new Response('Unknown app key.', 401);
        }

        $signature = hash_hmac('sha256', $request->getContent(), $app->secret());

        if (! hash_equals($signature, (string) $request->header('X-Pusher-Signature'))) {
            return new Response('Invalid signature.', 401);
        }

        $payload = json_decode($request->getContent(), true);

        if (abs(time() - intdiv((int) ($payload['time_ms'] ?? 0), 1000)) > static::MAX_AGE) {
            return new Response('Expired.', 401);
        }

        foreach ((array) ($payload['events'] ?? []) as $event) {
            // A listener that fails must not make the server post all events again.
            rescue(fn () => $this->dispatch($app, (array) $event));
        }

        return new Response;
    }

    /**
     * Dispatch the event of Laravel Reverb for an event of the server.
     */
    protected function dispatch(Application $app, array $event): void
    {
        match ($event['name'] ?? null) {
            'channel_occupied' => ChannelCreated::dispatch($this->channel($event)),
            'channel_vacated' => ChannelRemoved::dispatch($this->channel($event)),
            'connection_pruned' => ConnectionPruned::dispatch(new ChannelConnection($this->connection($app, $event))),
            'message_received' => $this->withoutPulse(
                fn () => MessageReceived::dispatch($this->connection($app, $event), $event['message'] ?? ''),
            ),
            'message_sent' => $this->withoutPulse(
                fn () => MessageSent::dispatch($this->connection($app, $event), $event['message'] ?? ''),
            ),
            'message_counts' => $this->recordMessages($app, $event),
            default => null,
        };
    }

    /**
     * Create the channel of an event.
     */
    protected function channel(array $event): Channel
    {
        return ChannelBroker::create($event['channel'] ?? '');
    }

    /**
     * Create the connection of an event. It cannot send anything: the server owns its socket.
     */
    protected function connection(Application $app, array $event): Connection
    {
        $id = (string) ($event['socket_id'] ?? '');

        $socket = new class($id) implements WebSocketConnection
        {
            public function __construct(protected string $id)
            {
                //
            }

            public function id(): int|string
            {
                return $this->id;
            }

            public function send(mixed $message): void
            {
                throw new LogicException('This connection belongs to the reverb server. Broadcast an event instead.');
            }

            public function close(mixed $message = null): void
            {
                throw new LogicException('This connection belongs to the reverb server and cannot be closed from here.');
            }
        };

        $connection = new Connection($socket, $app, $event['origin'] ?? null);

        (function () use ($id) {
            $this->id = $id;
        })->call($connection);

        return $connection;
    }

    /**
     * Run a callback while Pulse does not record: the server posts how many messages there were, so
     * the recorder must not count those that are dispatched here.
     */
    protected function withoutPulse(Closure $callback): mixed
    {
        return app()->bound(Pulse::class) ? app(Pulse::class)->ignore($callback) : $callback();
    }

    /**
     * Record how many messages the server has sent and received, as the recorder of Laravel Reverb
     * does for each of them.
     */
    protected function recordMessages(Application $app, array $event): void
    {
        $rate = $this->sampleRate();
        $time = intdiv((int) ($event['time_ms'] ?? 0), 1000);

        foreach ($rate === null ? [] : ['sent', 'received'] as $direction) {
            // The fraction that is left over counts with its probability.
            $count = (int) floor((int) ($event[$direction] ?? 0) * $rate + mt_rand() / (mt_getrandmax() + 1));

            for (; $count > 0; $count -= 10_000) {
                $entry = app(Pulse::class)->record("reverb_message:{$direction}", $app->id(), timestamp: $time)->onlyBuckets();

                for ($left = min($count, 10_000); $left > 0; $left--) {
                    $entry->count();
                }
            }
        }
    }

    /**
     * Get the sample rate of the messages recorder of Pulse, or null if it is not in use.
     */
    protected function sampleRate(): ?float
    {
        $config = app('config');
        $recorder = $config->get('pulse.recorders', [])[ReverbMessages::class] ?? false;

        if (! app()->bound(Pulse::class) || ! $config->get('pulse.enabled') || ! $recorder || ! ($recorder['enabled'] ?? true)) {
            return null;
        }

        return (float) ($recorder['sample_rate'] ?? 1);
    }
}
